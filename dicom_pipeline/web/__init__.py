"""SHOW: HTTP routes, in a process of its own: app (which route), admission (who may ask) and connections (how many, how
slow), bodies (read under limits), answer, studies (one study), uploads with dicomweb (STOW-RS), access (what the audit trail
hears), server (uvicorn).
A room of its own: pages (for a browser).
"""
