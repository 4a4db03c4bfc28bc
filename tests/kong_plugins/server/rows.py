"""An outcome as adapters of before send it: the request's id and the fields of an Outcome."""

ROW = [
    "r1",
    "checkout",
    "order",
    "food",
    "200",
    "502, 200",
    "2",
    "12",
    "service",
    "",
    "",
    "memo",
    "203.0.113.9",
]
