"""DECODE: the bytes of one frame -> its stored values, within bounds.

limits (what a frame may cost, and the edge at which its failure stays its own), fragments (which bytes are a frame), frames
(decode one), packed (a header that was read elsewhere), jpeg12 (12-bit JPEG).
"""
