"""SHOW: HTTP routes: app (server, health, status), studies (one study: announce, send, state, results), dicomweb (STOW-RS)."""
