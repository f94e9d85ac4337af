"""Draw docs/images/presets.png: one sample image through each preset.

python docs/images/make_presets.py
"""

from pathlib import Path

from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, contact_sheet, load_preset
from dicom_pipeline.imaging.sheet import SheetGroup, SheetPicture

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {
    "ct-chest-nodule/2-09.dcm": (
        "ct-medgemma-report",
        "ct-medgemma-notebook",
        "ct-single:lung",
        "ct-single:mediastinum",
        "ct-single:bone",
        "serving-parity",
    ),
    "mr-brain-lesion/1-10.dcm": ("mr-percentile", "mr-voi"),
    "cr-chest-effusion/1-01.dcm": ("xray", "serving-parity"),
}


def main() -> None:
    groups = []
    for name, presets in SHOWN.items():
        frame = Frame(FrameKey("1"), ROOT / "sample_data" / "studies" / name, "1")
        pictures = [
            SheetPicture(SeriesRenderer(load_preset(preset), [frame]).render(frame).pixels, preset)
            for preset in presets
        ]
        groups.append(SheetGroup(name.split("/")[0], pictures))
    page = contact_sheet(groups, title="One image, each preset")
    page.save(ROOT / "docs" / "images" / "presets.png")


if __name__ == "__main__":
    main()
