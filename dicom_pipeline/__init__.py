"""From a PACS to embeddings, label scores and DICOM Structured Reports.

    receive -> assemble -> plan -> render -> encode -> score -> report -> deliver
                                                 \\-> store -> export | search | probe | evaluate

Rooms, in the order in which a study flows: intake, catalog, planning, imaging, encoders, scoring, reporting,
delivery, research, service, cli.
"""
