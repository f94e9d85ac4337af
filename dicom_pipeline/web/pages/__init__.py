"""SHOW TO A PERSON: HTML pages for a browser, rendered here, kept up to date by server-sent events where scripts may run.

routes (which page answers which path, and the forms), access (sessions of a browser, requests of other sites), rendering
(templates, headers), live (what a page shows, again and again as it changes). study_list, study, outbox: what each page shows;
results: what a revision left in the spool. Templates and static files are in data/.
"""
