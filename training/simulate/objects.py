"""Which household things there are, by kind: the registry that scenes draw from."""

from training.simulate import crockery, groceries, toys
from training.simulate.things import Recipe

RECIPES: dict[str, Recipe] = {
    "can": groceries.can,
    "carton": groceries.carton,
    "mug": crockery.mug,
    "bowl": crockery.bowl,
    "bottle": groceries.bottle,
    "banana": groceries.banana,
    "fruit": groceries.fruit,
    "brick": toys.brick,
    "ball": toys.ball,
    "cube": toys.cube,
    "book": toys.book,
    "duck": toys.duck,
    "teapot": crockery.teapot,
    "plant": crockery.plant,
    "domino": toys.domino,
    "block": toys.wooden_block,
}
"""Every recipe by the kind it makes."""
