"""Taking an export to the hub."""

from __future__ import annotations

from pathlib import Path

from exme.search.merging.folders import RECIPE
from exme.search.merging.sources import is_hub_id
from exme.tasks import UserError


def push(folder: Path, repository: str, *, public: bool = False) -> str:
    """Upload an export to a model repository on the hub, which is made where it is not there yet.

    Args:
        folder: a finished export.
        repository: ``owner/name``.
        public: whether a new repository is open to all.
    Returns:
        Its address.
    Raises:
        UserError: that is no export or no repository, or the hub refuses.
    """
    if not (folder / RECIPE).is_file():
        raise UserError(f"{folder}: holds no export of ExMe; `exme export` writes one")
    if not is_hub_id(repository):
        raise UserError(f"--push {repository}: expected owner/name")
    import huggingface_hub  # noqa: PLC0415  (slow)

    hub = huggingface_hub.HfApi()
    try:
        made = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Merge found by ExMe, recipe in {RECIPE}",
        )
    except Exception as error:  # noqa: BLE001  (network, rights, quota: they share no class)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{repository}: not pushed to the hub ({reason}); the export is whole in {folder}. Log in "
            f"with `hf auth login` and check the owner's name"
        ) from None
    return str(made)
