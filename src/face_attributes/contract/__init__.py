"""The data contract: facts about the data of a training, and the limits that people set for them."""
