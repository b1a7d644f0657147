"""Everything random at once, for long: what no fixed tolerance survives."""

import keras

from harness import Fit, case


@case(tags=["slow"])
def five_hundred_steps_of_adam(rng):
    """Through noise, dropout and batch normalisation, with the data shuffled in each of ten epochs."""
    model = keras.Sequential(
        [
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    x = rng.normal(size=(1600, 8)).astype("float32")
    y = (x[:, :1] * x[:, 1:2]).astype("float32")
    return Fit(model, x, y, epochs=10, batch_size=32, shuffle=True)
