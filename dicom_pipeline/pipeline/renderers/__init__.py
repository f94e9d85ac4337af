"""RENDERERS: the processes that decode and render, so that no decoder runs where a study, a spool or a model is held.

jobs (what is asked of them), process (what runs in one), kernels (what it renders with), child (one as its parent holds it),
desk (where jobs are handed in), dispatcher (the thread that holds them all), pool (how everybody asks them), series (the
frames of one series, with statistics of its stacks).
"""

from dicom_pipeline.pipeline.renderers.child import RenderLimits
from dicom_pipeline.pipeline.renderers.dispatcher import RendererStartError
from dicom_pipeline.pipeline.renderers.kernels import KernelChoice
from dicom_pipeline.pipeline.renderers.pool import Renderers
from dicom_pipeline.pipeline.renderers.series import SeriesFrames

__all__ = ["KernelChoice", "RenderLimits", "RendererStartError", "Renderers", "SeriesFrames"]
