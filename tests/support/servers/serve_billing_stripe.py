"""Serves localstripe on a free port of 127.0.0.1, with a stub of what it lacks of Stripe: prices, checkout and the billing portal.

STUB, not Stripe: the shapes are those that Stripe documents for its version 2024-06-20, as far as the program reads them.
Below /_config/ are doors for tests: what a person does on Stripe's pages, and what only time brings otherwise.
"""

import asyncio
import os
import socket
from types import SimpleNamespace

from aiohttp import web
from localstripe import resources, server, webhooks
from localstripe.errors import UserError
from localstripe.resources import Customer, Event, Invoice, PaymentMethod, Plan, StripeObject, Subscription, SubscriptionItem

# Every instance would write its records into one file shared by all: keep them in memory.
resources.Store.dump_to_disk = lambda store: None


async def at_once(_):
    """localstripe waits for a second before it sends a webhook; sooner is harder."""


webhooks.asyncio = SimpleNamespace(sleep=at_once, ensure_future=asyncio.ensure_future)

# Prices: each plan of localstripe is a price of the same id, as Stripe has it too.
SubscriptionItem.price = property(lambda item: {"id": item.plan.id, "object": "price", "unit_amount": item.plan.amount})
unflatten_data = server.unflatten_data


def with_prices(fields):
    data = unflatten_data(fields)
    for item in data.get("items") or []:
        if isinstance(item, dict) and "price" in item:
            item["plan"] = item.pop("price")
    return data


server.unflatten_data = with_prices

# localstripe tells of subscriptions that are made and deleted, but not of those that change.
update = Subscription._update


def update_and_tell(subscription, **changes):
    update(subscription, **changes)
    webhooks.schedule_webhook(Event("customer.subscription.updated", subscription))


Subscription._update = update_and_tell
resources.schedule_webhook = webhooks.schedule_webhook

# What repeats under the same Idempotency-Key is answered as before. localstripe itself takes no notice of the header.
answered = {}
# Requests, as tests ask for them: method, path, version, idempotency key.
requests = []


@web.middleware
async def idempotent(request, handler):
    if request.path.startswith("/v1/"):
        key = request.headers.get("Idempotency-Key")
        requests.append([request.method, request.path, request.headers.get("Stripe-Version"), key])
        if request.method == "POST" and key is not None and (request.path, key) in answered:
            return web.json_response(answered[request.path, key])
    return await handler(request)


class CheckoutSession(StripeObject):
    object = "checkout.session"
    _id_prefix = "cs_test_"

    def __init__(self, customer, line_items, success_url, cancel_url, client_reference_id=None, subscription_data=None, mode=None):
        Customer._api_retrieve(customer)
        Plan._api_retrieve(line_items[0]["price"])
        if mode != "subscription":
            raise UserError(400, "mode must be subscription")
        super().__init__()
        self.customer, self.mode, self.client_reference_id = customer, mode, client_reference_id
        self.success_url, self.cancel_url = success_url, cancel_url
        self.status, self.payment_status, self.subscription = "open", "unpaid", None
        self.url = f"https://checkout.stripe.com/c/pay/{self.id}"
        self._price = line_items[0]["price"]
        self._metadata = (subscription_data or {}).get("metadata")


class PortalSession(StripeObject):
    object = "billing_portal.session"
    _id_prefix = "bps_"

    def __init__(self, customer, return_url):
        Customer._api_retrieve(customer)
        super().__init__()
        self.customer, self.return_url = customer, return_url
        self.url = f"https://billing.stripe.com/p/session/{self.id}"


def making(kind):
    async def make(request):
        data = await server.get_post_data(request)
        made = kind(**data)._export()
        answered[request.path, request.headers.get("Idempotency-Key")] = made
        return web.json_response(made)

    return make


def use_card(customer, card):
    method = PaymentMethod._api_retrieve(card)
    PaymentMethod._api_attach(method.id, customer=customer)
    Customer._api_retrieve(customer).invoice_settings["default_payment_method"] = method.id


async def pay_checkout(request):
    """A person enters a card on the page of a checkout, and pays."""
    session = CheckoutSession._api_retrieve(request.match_info["id"])
    data = await request.post()
    use_card(session.customer, data["card"])
    subscription = Subscription(customer=session.customer, items=[{"plan": session._price}], metadata=session._metadata)
    session.status, session.payment_status, session.subscription = "complete", "paid", subscription.id
    webhooks.schedule_webhook(Event("checkout.session.completed", session))
    return web.json_response(subscription._export())


async def enter_card(request):
    """A person enters another card in the portal."""
    use_card(request.match_info["id"], (await request.post())["card"])
    return web.json_response({})


async def renew(request):
    """A period ends: the next one is invoiced."""
    subscription = Subscription._api_retrieve(request.match_info["id"])
    subscription._create_invoice()
    return web.json_response(subscription._export())


async def pay(request):
    """A person pays the newest invoice of a subscription in the portal."""
    subscription = Subscription._api_retrieve(request.match_info["id"])
    Invoice._api_pay_invoice(subscription.latest_invoice)
    return web.json_response(subscription._export())


async def asked(_):
    return web.json_response(requests)


routes = server.app.router
routes.add_post("/v1/checkout/sessions", making(CheckoutSession))
routes.add_post("/v1/billing_portal/sessions", making(PortalSession))
routes.add_post("/_config/checkouts/{id}/pay", pay_checkout)
routes.add_post("/_config/customers/{id}/card", enter_card)
routes.add_post("/_config/subscriptions/{id}/renew", renew)
routes.add_post("/_config/subscriptions/{id}/pay", pay)
routes.add_get("/_config/requests", asked)
server.app.middlewares.append(idempotent)

listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 0))))
print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
web.run_app(server.app, sock=listener, print=None, access_log=None)
