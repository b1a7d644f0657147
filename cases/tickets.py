"""D7: support tickets, a model of three inputs and two outputs, fed by position and by name."""

import keras
import numpy as np
from keras import layers

from harness import Fit, case

VOCABULARY, TAGS, DEPARTMENTS, SAMPLES = 10_000, 100, 4, 1_280


def ticket_model():
    title = keras.Input(shape=(VOCABULARY,), name="title")
    text_body = keras.Input(shape=(VOCABULARY,), name="text_body")
    tags = keras.Input(shape=(TAGS,), name="tags")
    features = layers.Concatenate()([title, text_body, tags])
    features = layers.Dense(64, activation="relu", name="features")(features)
    priority = layers.Dense(1, activation="sigmoid", name="priority")(features)
    department = layers.Dense(DEPARTMENTS, activation="softmax", name="department")(features)
    model = keras.Model([title, text_body, tags], [priority, department], name="tickets")
    model.compile(
        optimizer="rmsprop",
        loss=["mean_squared_error", "categorical_crossentropy"],
        metrics=[["mean_absolute_error"], ["accuracy"]],
    )
    return model


def tickets(rng):
    """Titles of about 8 words, bodies of about 100, 3 tags, as multi-hot; a priority, and a department as one-hot.

    A ticket that had half of all words, as coin flips would make it, saturates the softmax, where the backends of
    Keras differ: tensorflow takes the cross-entropy of the logits, the others clip the probabilities.
    """
    title = (rng.random((SAMPLES, VOCABULARY), "float32") < 8 / VOCABULARY).astype("float32")
    text_body = (rng.random((SAMPLES, VOCABULARY), "float32") < 100 / VOCABULARY).astype("float32")
    tags = (rng.random((SAMPLES, TAGS), "float32") < 3 / TAGS).astype("float32")
    priority = rng.random((SAMPLES, 1), "float32")
    department = np.eye(DEPARTMENTS, dtype="float32")[rng.integers(0, DEPARTMENTS, size=SAMPLES)]
    return [title, text_body, tags], [priority, department]


@case
def ticket_model_fit(rng):
    x, y = tickets(rng)
    return Fit(ticket_model(), x, y, epochs=1, batch_size=128)


@case
def lists_and_dicts_are_the_same_run(rng, record):
    x, y = tickets(rng)
    by_position, by_name = ticket_model(), ticket_model()
    by_name.set_weights(by_position.get_weights())
    by_name.compile(
        optimizer="rmsprop",
        loss={"priority": "mean_squared_error", "department": "categorical_crossentropy"},
        metrics={"priority": ["mean_absolute_error"], "department": ["accuracy"]},
    )
    named_x = dict(zip(["title", "text_body", "tags"], x, strict=True))
    named_y = dict(zip(["priority", "department"], y, strict=True))

    options = {"epochs": 2, "batch_size": 128, "shuffle": False, "verbose": 0}
    record("history by position", by_position.fit(x, y, **options).history)
    record("history by name", by_name.fit(named_x, named_y, **options).history)
    evaluated = [by_position.evaluate(x, y, verbose=0), by_name.evaluate(named_x, named_y, verbose=0)]
    predicted = [by_position.predict(x, verbose=0), by_name.predict(named_x, verbose=0)]
    record("evaluate", evaluated)
    record("predict", predicted)
    assert evaluated[0] == evaluated[1]
    for left, right in zip(*predicted, strict=True):
        assert np.array_equal(left, right)
    for left, right in zip(by_position.get_weights(), by_name.get_weights(), strict=True):
        assert np.array_equal(left, right)
