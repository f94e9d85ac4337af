"""`models`, `models fetch`, `import`, `info`, `reference`: which checkpoints there are, and what each is known for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json, table
from dicom_pipeline.cli.research.places import Where

models = typer.Typer(help="The models on this machine; fetch, import, look at one.", invoke_without_command=True)


@models.callback()
def list_them(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models that load without a network."""
    if context.invoked_subcommand:
        return
    from dicom_pipeline.encoders.library import list_models

    found = list_models()
    if as_json:
        print_json([{"name": name, "source": source, "folder": str(folder)} for name, source, folder in found])
        return
    made = table("", ("model", "from", "folder"))
    for name, source, folder in found:
        made.add_row(name, source, str(folder))
    console().print(made)
    console().print("MedSigLIP itself: `dicom-pipeline models fetch google/medsiglip-448` (gated).", highlight=False)


@models.command("fetch")
def fetch(
    model: Annotated[str, typer.Argument(metavar="ID", help="A hub id, such as google/medsiglip-448.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; the commit is printed.")] = None,
) -> None:
    """Download a model from the Hugging Face hub, with progress; says how to get access where it is gated."""
    from dicom_pipeline.encoders.checkpoint import checkpoint_folder

    folder = checkpoint_folder(model, revision)
    console().print(
        f'{model} is in {folder}\npin it: encoder.revision = "{folder.name}"', highlight=False, soft_wrap=True
    )


@models.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="A checkpoint folder.")],
    name: Annotated[str | None, typer.Option(help="Its name here; the folder's own without.")] = None,
) -> None:
    """Copy a checkpoint folder (an offline copy, say) so that it can be called by name."""
    from dicom_pipeline.encoders.library import import_model

    target = import_model(source, name or source.resolve().name)
    console().print(f"imported as {target.name}: `--model {target.name}`", highlight=False)


@models.command("info")
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name from the list, a folder, or a hub id.")],
    as_json: AsJson = False,
) -> None:
    """Show a model's shape, parameters, licence, notice and hash, without loading it."""
    from dicom_pipeline.encoders.checkpoint import checkpoint_folder
    from dicom_pipeline.encoders.library import list_models, model_info

    known = {name: folder for name, _, folder in list_models()}
    found = model_info(model, known.get(model) or checkpoint_folder(model))
    if as_json:
        print_json({**asdict(found), "folder": str(found.folder)})
        return
    made = table("", ("", ""))
    for key, value in asdict(found).items():
        text = (
            f"{value / 1e6:.1f} million"
            if key == "parameters"
            else str(value if value not in (None, "") else "not stated")
        )
        made.add_row(key.replace("_", " "), text)
    console().print(made)


@models.command("reference")
def reference(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name from the list, a folder, or a hub id.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="STORE_OR_PROCESS_OUTPUT_DIR",
            help="A store, or what `process` wrote, of images that it is known for.",
        ),
    ],
    where: Where = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="The model knows nothing else: other presets are out of domain too.")
    ] = False,
) -> None:
    """Make a model's reference, by which frames are marked that are out of its domain; it is written to its folder."""
    from dicom_pipeline.disk import write_durably
    from dicom_pipeline.encoders.checkpoint import checkpoint_folder, reference_file, weights_digest
    from dicom_pipeline.encoders.library import list_models
    from dicom_pipeline.research.embedding_store import EmbeddingStore
    from dicom_pipeline.research.reference_fitting import references_of
    from dicom_pipeline.scoring.reference import reference_bytes

    known = {name: folder for name, _, folder in list_models()}
    folder = known.get(model) or checkpoint_folder(model)
    weights = weights_digest(folder)
    made, without = references_of(EmbeddingStore.open(source, space=weights), weights, where)
    target = reference_file(folder)
    write_durably(target, reference_bytes(weights, made, exclusive=exclusive))
    shown = table("", ("preset", "frames", "studies", "limit", "beyond it when held out"))
    for name, preset in made.items():
        shown.add_row(name, str(preset.rows), str(preset.studies), f"{preset.limit:.2f}", f"{preset.held_out:.2%}")
    console().print(shown)
    for name, why in without.items():
        console().print(f"no reference for {name}: {why}", highlight=False)
    console().print(f"written: {target}", highlight=False, soft_wrap=True)
