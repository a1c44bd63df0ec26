from forebay import App, Received

app = App()


@app.consume("orders", dict)
async def sell(received: Received[dict[str, str]]) -> None:
    print("sold", received.payload["seat"])
