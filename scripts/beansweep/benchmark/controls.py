"""What every bench times as a control: names that no variant may have."""

# FP32 a second time, under another name; and a fixed small network (see control_model.py).
FP32_AGAIN, CONTROL_MODEL = CONTROLS = ("fp32_again", "control_model")
# Height and width of the control model's input, in pixels.
CONTROL_MODEL_SIZE = (96, 96)
