"""The list of all kinds of data."""

from tf_savae.tasks.image.task import ImageTask
from tf_savae.tasks.text.task import TextTask

__all__ = ["TASKS"]

TASKS = [TextTask(), ImageTask()]
