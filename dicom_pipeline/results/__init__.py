"""KEEP: the results of a study as files, and back.

study_files (the folder of a study, report.html through overview), tables (embeddings.parquet, scores.csv), tags (acquisition
tags of a header), plan_json (plan.json), places (where a revision's results lie in the spool).
"""
