"""Looking at a print without restoring it: `--dry-run --save-mask`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restorer.pipeline.canvas import Work
from restorer.pipeline.result import write_mask
from restorer.pipeline.stages.repair import STAGE

if TYPE_CHECKING:
    from restorer.photo import Photo
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record


def look(restorer: Restorer, photo: Photo, target: Path, record: Record, *, overwrite: bool) -> None:
    """Find what is damaged in a photo, and write that alone; what was found stands in the record.

    Args:
        restorer: whose options say what is looked for.
        photo: what was opened.
        target: where its result would go; the mask goes beside it.
        record: of the photo.
        overwrite: replace a mask that is there.

    Raises:
        OutputExistsError: a mask is there already.
        UsageError: a mask that was given is not of the photo's size.
    """
    components = restorer.components
    work = Work(photo, components.options, components, record, photo.size)
    _, mask, told = STAGE.look(photo.pixels, work)
    target.parent.mkdir(parents=True, exist_ok=True)
    told["mask"] = write_mask(target, mask, restorer.note(photo.sha256), overwrite=overwrite)
    record.repair = told
