"""The model zoo's words for a job of ModelArts: which places they name."""

import pytest

from unetkit.config import load_config
from unetkit.configuring import translate_config
from unetkit.legacy.configs.translation import Draft
from unetkit.legacy.configs.zoo import zoo_settings

ZOO = {"model_name": "unet_medical", "data_path": "/cache/data/isbi", "output_path": "/cache/train"}
CLOUD = ["--enable_modelarts", "True", "--data_url", "s3://lab/data", "--train_url", "s3://lab/out/"]


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("s3://lab/weights", "/cache/checkpoint_path/a.ckpt", "s3://lab/weights/a.ckpt"),
        ("s3://lab/weights/", "./deep/a.ckpt", "s3://lab/weights/deep/a.ckpt"),
        ("s3://lab/a.ckpt", "/cache/checkpoint_path/a.ckpt", "s3://lab/a.ckpt"),
    ],
)
def test_a_job_of_modelarts_names_the_storage(url: str, path: str, expected: str) -> None:
    words = [*CLOUD, "--checkpoint_url", url, "--resume", "True", "--resume_ckpt", path]
    settings = zoo_settings([ZOO], words, Draft("x.yaml"))
    assert settings.data_path == "s3://lab/data"
    assert settings.output_path == "s3://lab/out/"
    assert settings.resume_ckpt == expected
    assert "data_url" in settings.said("data_path")


def test_without_modelarts_urls_mean_nothing() -> None:
    translation = translate_config(ZOO, flags=CLOUD[2:])
    assert load_config(translation.config).data.path == "/cache/data/isbi"
    assert translation.out is None
    assert "enable_modelarts is True" in translation.unused["data_url"]
