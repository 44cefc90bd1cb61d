"""Objects: how they are made of probabilities, and what labelled data says of them."""

from unetkit.objects.finding import find_objects, method_for
from unetkit.objects.labelled import BORDER, ObjectMap, object_classes, true_objects

__all__ = ["BORDER", "ObjectMap", "find_objects", "method_for", "object_classes", "true_objects"]
