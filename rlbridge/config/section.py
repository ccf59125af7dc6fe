"""One section of a run, and the kinds of numbers that are in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Schedule = Literal["constant", "linear"]


class Section(BaseModel):
    """One mapping of the run file: unknown keys are errors, and a truth value is no number."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: Any) -> Any:
        # pydantic would read `num_envs: yes` as 1.
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation not in (bool, bool | None):
            raise ValueError("true or false is not what belongs here")
        return value
