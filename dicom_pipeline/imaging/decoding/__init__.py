"""DECODE: the bytes of one frame -> its stored values, within bounds.

limits (what a frame may cost, and the edge at which its failure stays its own), fragments (which bytes are a frame),
code_streams (what a compressed frame's header says of its size), frames (decode one), packed (a header that was read
elsewhere), decoders (which one reads what), codecs (imagecodecs as one of them).
"""
