"""The keys of the MindSpore model zoo's configurations: those of its seven files, and those of its README alone."""

from unetkit.interop.configurations.settings import Key

_CLOUD = "of jobs of ModelArts, where enable_modelarts is True"
_EXPORT = "of export.py: unetkit export RUN --to onnx, mindir, air; any size"
_CONVERTED = "of preprocess_dataset.py; COCO and nuclei are read as they are, and unetkit data convert writes folders"
_FILES = "of files between its programs; unetkit predict and evaluate write their results where --out and --json say"
_README = "named in its README, read by none of its programs"

MODELS = ("unet_medical", "unet_simple", "unet_nested")

KEYS: dict[str, Key] = {
    "enable_modelarts": Key("truth", False, reason=_CLOUD),
    "data_url": Key("text", "", reason=_CLOUD),
    "train_url": Key("text", "", reason=_CLOUD),
    "checkpoint_url": Key("text", "", reason=_CLOUD),
    "load_path": Key("text", "/cache/checkpoint_path/", reason=_CLOUD),
    "data_path": Key("text", "/cache/data"),
    "output_path": Key("text", "/cache/train"),
    "device_target": Key("text", "Ascend", choices=("Ascend", "GPU", "CPU")),
    "enable_profiling": Key("truth", False, reason="of MindSpore's profiler"),
    "model_name": Key("text", "", choices=MODELS),
    "dataset": Key("text", "ISBI"),
    "split": Key("number", 0.8),
    "cross_valid_ind": Key("whole", 1),
    "crop": Key("list"),
    "image_size": Key("list"),
    "train_augment": Key("truth", False),
    "num_classes": Key("whole", 2, least=2),
    "num_channels": Key("whole", 1, least=1),
    "use_ds": Key("truth", True),
    "use_bn": Key("truth", True),
    "use_deconv": Key("truth", True),
    "lr": Key("number", 1e-4, least=0),
    "weight_decay": Key("number", 5e-4, least=0),
    "loss_scale": Key("number", 1024.0, least=1e-6),
    "FixedLossScaleManager": Key("number", 1024.0, least=1e-6),
    "epochs": Key("whole", 400, least=1),
    "distribute_epochs": Key("whole", 1600, least=1),
    "repeat": Key("whole", 1, least=1),
    "batch_size": Key("whole", 16, least=1),
    "distribute_batchsize": Key("whole", 16, least=1),
    "run_distribute": Key("truth", False),
    "resume": Key("truth", False),
    "resume_ckpt": Key("text", "./"),
    "transfer_training": Key("truth", False),
    "filter_weight": Key("list", ()),
    "run_eval": Key("truth", False),
    "eval_start_epoch": Key("whole", 0, least=0),
    "eval_interval": Key("whole", 1, least=1),
    "eval_metrics": Key("text", "dice_coeff"),
    "eval_activate": Key("text", "Softmax"),
    "eval_resize": Key("truth", False),
    "include_background": Key("truth", True),
    "show_eval": Key("truth", False, reason="pictures of the held-out images are always in report.html"),
    "color": Key("list", reason="of its pictures; those of report.html have colours of their own"),
    "keep_checkpoint_max": Key("whole", 10, least=0),
    "checkpoint_path": Key("text", "", reason="of its output folder; checkpoints lie in the run folder"),
    "checkpoint_file_path": Key("text", "", reason="of eval.py and export.py: unetkit evaluate FILE"),
    "rst_path": Key("text", "", reason=_FILES),
    "result_path": Key("text", "", reason=_FILES),
    "width": Key("whole", 0),
    "height": Key("whole", 0),
    "file_name": Key("text", "", reason=_EXPORT),
    "file_format": Key("text", "MINDIR", choices=("AIR", "MINDIR", "ONNX"), reason=_EXPORT),
    "anno_json": Key("text", "", reason=_CONVERTED),
    "val_anno_json": Key("text", "", reason=_CONVERTED),
    "coco_dir": Key("text", "", reason=_CONVERTED),
    "val_coco_dir": Key("text", "", reason=_CONVERTED),
    "coco_classes": Key("list"),
    "name": Key("text", "", reason=_README),
    "rank": Key("whole", 0, reason=_README),
    "is_save_on_master": Key("whole", 1, reason=_README),
    "save_best_ckpt": Key("truth", True, reason="the best weights are always kept, in best.safetensors"),
}

ALIASES = {"batchsize": "batch_size", "img_size": "image_size", "model": "model_name", "epoch_size": "epochs"}
