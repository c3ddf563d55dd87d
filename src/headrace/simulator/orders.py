"""Orders: the events of a shop, in the form of Segment's e-commerce specification."""

from __future__ import annotations

import random
from typing import Any, Final

from headrace.simulator import figures

ORDER_COMPLETED: Final = "Order Completed"
ORDER_REFUNDED: Final = "Order Refunded"
CURRENCY: Final = "EUR"
_PRODUCTS: Final = (
    "Linen shirt",
    "Wool scarf",
    "Oak stool",
    "Tea pot",
    "Field bag",
    "Desk lamp",
    "Rain coat",
    "Blanket",
)


def is_order(event: dict[str, Any]) -> bool:
    """Whether an event of the simulation is an order."""
    return event.get("event") == ORDER_COMPLETED


def is_of_shop(event: dict[str, Any]) -> bool:
    """Whether an event of the simulation is the shop's or its website's; all others are Selligent's."""
    return "integration" not in event["context"]


def order_cents(chance: random.Random) -> int:
    return max(round(figures.ORDER_VALUE.draw(chance) * 100), 100)


def order_properties(order_id: str, total_cents: int, chance: random.Random) -> dict[str, Any]:
    """One to three products whose prices add up to the total, to the cent."""
    numbers = chance.sample(range(len(_PRODUCTS)), chance.randint(1, 3))
    products: list[dict[str, Any]] = []
    left = total_cents
    for position, number in enumerate(numbers):
        last = position == len(numbers) - 1
        cents = left if last else max(round(left * chance.uniform(0.3, 0.7)), 1)
        left -= cents
        products.append(
            {"product_id": f"P-{number + 1:03d}", "name": _PRODUCTS[number], "price": cents / 100, "quantity": 1}
        )
    return {"order_id": order_id, "total": total_cents / 100, "currency": CURRENCY, "products": products}
