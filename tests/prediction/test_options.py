"""What may be asked of a prediction is what the sections of the configuration hold."""

from unetkit.config import ObjectsConfig, PredictConfig
from unetkit.exporting.export import ExportOptions
from unetkit.formats.job import FileOptions
from unetkit.prediction.load import LoadOptions
from unetkit.prediction.predictor import ObjectsKeys, PredictKeys


def test_every_key_of_predict_and_objects_is_an_option() -> None:
    assert PredictKeys.__annotations__.keys() == PredictConfig.model_fields.keys()
    assert ObjectsKeys.__annotations__.keys() == {f"objects.{key}" for key in ObjectsConfig.model_fields}
    beyond = (
        LoadOptions.__annotations__.keys() - PredictKeys.__annotations__.keys() - ObjectsKeys.__annotations__.keys()
    )
    of_others = {"classes", "normalization", "multiple", "input_size", "activation", "output"}
    assert beyond == {"head", "runtime", "threads", "precision", "trust", "overrides"} | of_others


def test_every_field_of_a_file_is_an_option_of_an_export() -> None:
    assert ExportOptions.__annotations__.keys() - {"head", "max_drop"} == set(FileOptions.__dataclass_fields__)
