"""ENCODE: renderings and texts -> vectors of one space. The only room that knows torch and transformers.

encoder (protocol, loading by entry point), checkpoint (files, hashes, gated access), device (device and number format),
siglip (MedSigLIP), phantom (the shipped default), vision (image-only models), batches, library (the models on this
machine), text_cache. Importing this loads no torch.
"""

from dicom_pipeline.encoders.batches import encode_stream
from dicom_pipeline.encoders.encoder import Encoder, find_encoder, load_encoder
from dicom_pipeline.encoders.text_cache import CachedTexts

__all__ = ["CachedTexts", "Encoder", "encode_stream", "find_encoder", "load_encoder"]
