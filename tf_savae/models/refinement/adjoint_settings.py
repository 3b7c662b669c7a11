"""Settings of a refinement layer's adjoint: an adjoint object, or its short forms."""

from collections.abc import Callable

import keras

from tf_savae.core.typing import Config, MixedIn
from tf_savae.models.refinement.steps_schedule import every
from tf_savae.svi.adjoints import Adjoint
from tf_savae.svi.short_forms import NOT_GIVEN, SHORT_FORMS, as_adjoint, short_forms_of

__all__ = ["HasAdjoint"]


class HasAdjoint(MixedIn):
    """Mixin of `SemiAmortizedRefinement` for the adjoint and its settings.

    If the adjoint is a string, its settings are attributes that may be assigned separately. If it
    is an object, these attributes are read-only views of the object's settings; to change them,
    assign another object.
    """

    def _set_adjoint(self, adjoint, **short):
        made = as_adjoint(adjoint, max(every(self.steps)), **short)
        self.adjoint = adjoint
        if isinstance(adjoint, str):
            short["hvp"] = made.hvp or short["hvp"] or "auto"
            for name in SHORT_FORMS:
                setattr(self, name, short[name])

    def __setattr__(self, name, value):
        if name in SHORT_FORMS and isinstance(self.__dict__.get("adjoint"), Adjoint):
            raise ValueError(
                f"{name}: the adjoint {self.adjoint!r} has its own settings; got {value!r}. Assign "
                "another object to adjoint instead."
            )
        super().__setattr__(name, value)
        if name == "adjoint" and isinstance(value, Adjoint):
            shown = dict(NOT_GIVEN)
            if value.hvp is not None:
                shown |= {name: getattr(value, own, None) for name, own in SHORT_FORMS.items()}
            for short, setting in {**shown, "hvp": value.hvp or "auto"}.items():
                super().__setattr__(short, setting)

    def current_adjoint(self) -> Adjoint:
        """Returns the adjoint object that the settings describe.

        Raises:
          ValueError: settings that were assigned separately are incompatible.
        """
        return self._adjoint_with(steps=max(every(self.steps)))

    def product(self) -> str | Callable | None:
        """Returns the Hessian-vector product that the settings request."""
        return self.current_adjoint().hvp or self.hvp

    def _adjoint_with(self, steps=None, **overrides):
        """Returns the adjoint, with some settings replaced by `overrides` for one call.

        Settings that an overriding adjoint does not accept are omitted. `steps`: as in
        `as_adjoint`.
        """
        adjoint = overrides.pop("adjoint", self.adjoint)
        if isinstance(adjoint, Adjoint):
            hvp, keep = overrides.pop("hvp", None), overrides.pop("keep", "auto")
            made = as_adjoint(adjoint, steps, **overrides)
            made = made if keep == "auto" else made.with_residuals(keep)
            return made if hvp is None else made.with_hvp(hvp)
        short = {name: getattr(self, name) for name in SHORT_FORMS} | overrides
        if "keep" in overrides:  # Chosen: there is nothing left to choose by the budget.
            short["keep_budget"] = None
        left_out = set(SHORT_FORMS)
        if adjoint == self.adjoint:  # These were checked when they were given.
            left_out = {"truncate", "hvp", "keep_budget"}
        for name in left_out - short_forms_of(adjoint):
            short[name] = NOT_GIVEN[name]
        return as_adjoint(adjoint, steps, **short)

    def adjoint_config(self) -> Config:
        """Returns the constructor arguments of the adjoint and its settings."""
        if isinstance(self.adjoint, Adjoint):
            return {"adjoint": keras.saving.serialize_keras_object(self.adjoint)}
        config = {name: getattr(self, name) for name in ("adjoint", *SHORT_FORMS)}
        if "truncate" not in short_forms_of(self.adjoint):
            config["truncate"] = None
        if callable(self.hvp):
            config["hvp"] = keras.saving.serialize_keras_object(self.hvp)
        return config
