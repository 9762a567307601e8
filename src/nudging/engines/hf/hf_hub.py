"""Whether a model is to be had from the Hugging Face hub, asked once and before anything else.

The libraries find out file by file, each tried again for most of a minute, and use another name for
each thing that can be wrong.
"""

from __future__ import annotations

import logging

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ...errors import ModelError
from .hf_files import check_files

logger = logging.getLogger("nudging.engines")
SECONDS = 10.0


def is_only_here(name: str, revision: str) -> bool:
    """Whether a model is on this disk and the hub can't be reached, so that it need not be tried.

    Raises:
        ModelError: the hub has no such model, or something that is none, or it can't be reached
            and the model is not here.
    """
    here = False
    try:
        kept = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
        here = isinstance(kept, str)
        if not here:
            logger.warning("%s is not on this disk: the Hugging Face hub is asked for it", name)
        told = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=SECONDS)
        if files := [file.rfilename for file in told.siblings or ()]:
            check_files(name, files)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"there is no folder {name}, and no such model on the Hugging Face hub",
            hint="is the name right? On the hub it is OWNER/NAME; what is private there needs a "
            "token in HF_TOKEN",
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"{name} has no revision {revision} on the Hugging Face hub",
            hint="?revision= takes a branch, a tag or a commit",
        ) from None
    except ModelError:
        raise
    except HfHubHTTPError:  # it is there, and the libraries may still get what they need
        return False
    except Exception as error:  # of its HTTP library, whichever that is
        if not here:
            raise ModelError(
                f"there is no folder {name}, and the Hugging Face hub can't be reached: {error}",
                hint="is the path right? What the hub has can be fetched where there is a network, "
                "and given as a folder",
            ) from error
        return True
    return False
