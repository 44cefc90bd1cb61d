"""Objects: how they are made of probabilities, and what labelled data says of them."""

from unetkit.objects.contours import with_closed_gaps
from unetkit.objects.find import ObjectMap, describe, find_objects, method_for, object_classes, true_objects

__all__ = ["ObjectMap", "describe", "find_objects", "method_for", "object_classes", "true_objects", "with_closed_gaps"]
