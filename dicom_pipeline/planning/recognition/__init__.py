"""What an image is, from its header alone.

words (of data/selection.toml), kinds (no picture, a page, a map, a mosaic), localizers, contrasts (b-value, echo, component),
units (Hounsfield or not).
"""
