"""Where data comes in: `open_dataset` recognises the form of a data set, and each form has its reader."""
