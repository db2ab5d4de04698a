"""JSON Schemas, and what is written from them, made from the models: a setting that is added is in all of them."""
