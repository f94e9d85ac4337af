"""KEEP: the results of a study as files, and back.

study_output (a StudyResult in the form in which it is written and read: the one conversion), folder (the folder of a run,
report.html through overview), tables (embeddings.parquet), score_rows (scores.csv), tags (acquisition tags of a header),
plan_json (plan.json), study_sheet (contact_sheet.png), csv_files (every CSV: texts that are no formulas), record (where a
revision's results lie in the spool, and revision.json).
"""
