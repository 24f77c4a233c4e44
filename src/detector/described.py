"""YAML files read through a schema. An error names the file, the field, and what is allowed."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)
# The parser in C, where PyYAML was built with it, is ten times as fast.
Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RulebookError(ValueError):
    """A file that is not as it must be. The message names the file, the field, and what is allowed."""


def read_yaml(file: Path, schema: type[Schema], shown: str) -> Schema:
    """Return the content of a YAML file. Raise RulebookError, which calls the file `shown`."""
    try:
        return schema.model_validate(yaml.load(file.read_text(encoding="utf-8"), Loader))
    except FileNotFoundError:
        raise RulebookError(f"{shown}: missing; add it ({schema.__doc__ or schema.__name__})") from None
    except yaml.YAMLError as error:
        raise RulebookError(f"{shown}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise RulebookError(f"{shown}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return in one line which fields are wrong and what is allowed."""
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc']) or 'the file'}: {one['msg']}"
        + ("" if one["type"] in ("missing", "extra_forbidden") else f", got {one['input']!r:.100}")
        for one in error.errors()
    )
