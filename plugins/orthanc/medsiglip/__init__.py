"""The Orthanc plug-in in parts, each of which imports from those before it alone; `make plug-in` joins them into one file.

`constants` (values from the package), `configuration`, `orthanc_rest`, `study_content` (a study as Orthanc holds it),
`pipeline_client`, `study_queue`, `study_state` (the state that a user sees), `changes` (from Orthanc's changes to the queue),
`sending`, `following`, `background` (the thread), `report`, `pages`, `routes`, `plugin` (the start), and the files
explorer.js and page.html.
"""
