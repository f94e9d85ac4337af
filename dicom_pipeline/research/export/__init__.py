"""Rows as files for other tools: exporter, levels (rows of frames, series, studies), formats, pseudonyms, vocabulary (texts
that may leave), anonymity (k-anonymity), datasheet.
"""
