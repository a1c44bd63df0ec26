from msgspec import Struct

from forebay import App, Received, Reject, Retry

app = App()
bank_is_open = True


class Order(Struct):
    seat: str
    email: str


@app.consume("orders", Order)
async def sell(received: Received[Order]) -> None:
    order = received.payload
    if order.seat == "X-0":
        raise Reject("there is no seat X-0")
    if not bank_is_open:
        raise Retry(30)
    if order.seat == "B-7" and received.receive_count == 1:
        raise ConnectionError("the bank does not answer")
    await app.publish("mail", "ticket", {"to": order.email, "seat": order.seat})
