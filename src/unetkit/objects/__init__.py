"""Objects: how they are made of probabilities, and what labelled data says of them."""

from unetkit.objects.contours import with_closed_gaps
from unetkit.objects.finding import describe, find_objects, method_for
from unetkit.objects.labelled import ObjectMap, object_classes
from unetkit.objects.truth import true_objects

__all__ = ["ObjectMap", "describe", "find_objects", "method_for", "object_classes", "true_objects", "with_closed_gaps"]
