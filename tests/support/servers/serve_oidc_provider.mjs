// Serves oidc-provider on a free port of 127.0.0.1, and beside it a small product that takes the provider's access tokens.
// Prints the port once connections are taken. Paths below /_test are the test's: they stand for what people do at the
// product, and say what the provider and the product were asked.

import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const { NODE_PACKAGES, REDIRECT_URIS } = process.env;
const { default: Provider } = await import(pathToFileURL(`${NODE_PACKAGES}/oidc-provider/lib/index.js`));

const STREAMS = ['contacts', 'companies', 'deals', 'invoices', 'notes', 'orders', 'products', 'tasks'];
const DAY = 24 * 60 * 60;

// What the provider remembers, by kind and id. Times are in its payloads, and it looks at them itself.
const rows = new Map();

class Rows {
  constructor(kind) {
    this.kind = kind;
  }

  async upsert(id, payload) {
    rows.set(`${this.kind}:${id}`, { ...payload });
  }

  async find(id) {
    return rows.get(`${this.kind}:${id}`);
  }

  async findByUid(uid) {
    return [...rows].find(([key, row]) => key.startsWith(`${this.kind}:`) && row.uid === uid)?.[1];
  }

  async findByUserCode() {
    return undefined;
  }

  async consume(id) {
    rows.get(`${this.kind}:${id}`).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    rows.delete(`${this.kind}:${id}`);
  }

  async revokeByGrantId(grantId) {
    drop(['AccessToken', 'AuthorizationCode', 'RefreshToken'], (row) => row.grantId === grantId);
  }
}

function drop(kinds, matches) {
  for (const [key, row] of rows) {
    if (kinds.includes(key.split(':')[0]) && matches(row)) rows.delete(key);
  }
}

// Whom people sign in, by the redirect addresses that the test gave.
const clients = ['first', 'second'].map((name) => ({
  client_id: `${name}-client`,
  client_secret: `${name}-secret-of-32-characters-or-more`,
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  response_types: ['code'],
  redirect_uris: REDIRECT_URIS.split(' '),
  token_endpoint_auth_method: 'client_secret_post',
}));

const log = [];
let toldSeconds;

// Answers that are held back: armed for one place, until it is released.
const gate = { place: undefined, held: 0, watchers: [], opened: [] };

async function pass(place) {
  if (gate.place !== place) return;
  gate.held += 1;
  gate.watchers.splice(0).forEach((tell) => tell());
  await new Promise((open) => gate.opened.push(open));
}

const server = createServer((request, response) => {
  route(request, response).catch((error) => {
    console.log(error);
    if (!response.headersSent) response.writeHead(500).end();
  });
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  adapter: Rows,
  clients,
  cookies: { keys: ['a key for the cookies of a test'] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ['offline_access', 'crm.read', 'crm.write'],
  ttl: {
    AccessToken: 3600,
    AuthorizationCode: 60,
    ClientCredentials: 3600,
    Grant: DAY,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: DAY,
    Session: DAY,
  },
});

// Says what the token endpoint was asked, and holds its answer back once everything in it has come true.
provider.use(async (context, next) => {
  await next();
  if (context.path !== '/token') return;
  const asked = context.oidc?.params ?? {};
  const answer = context.body ?? {};
  if (answer.access_token && toldSeconds !== undefined) context.body = { ...answer, expires_in: toldSeconds };
  log.push({
    kind: 'token',
    grant_type: asked.grant_type,
    client: asked.client_id,
    refresh_token: asked.refresh_token,
    has_verifier: Boolean(asked.code_verifier),
    status: context.status,
    error: answer.error,
    access_token: answer.access_token,
    new_refresh_token: answer.refresh_token,
  });
  await pass('token');
});
const oidc = provider.callback();

async function route(request, response) {
  const url = new URL(request.url, issuer);
  const [, first, second] = url.pathname.split('/');
  if (first === 'interaction') return interact(request, response);
  if (first === 'api') return product(request, response, url, second);
  if (first === '_test') return answer(response, 200, await command(second, await body(request)));
  return oidc(request, response);
}

// The person at the browser: signs in as `login_hint` says and allows what is asked, unless it is nobody.
async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const person = params.login_hint ?? 'ada';
  if (person === 'nobody') {
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: person } });
  }
  const consent = { grantId: await allow(session.accountId, params.client_id, params.scope) };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

async function allow(accountId, clientId, scope) {
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(scope);
  return grant.save();
}

// What each person has, by stream.
const records = new Map();
let minutes = 0;

function stream(owner, name) {
  const place = `${owner}/${name}`;
  if (!records.has(place)) {
    records.set(place, new Map());
    for (const id of [1, 2, 3]) put(owner, name, id, `${name} ${id} of ${owner}`);
  }
  return records.get(place);
}

function put(owner, name, id, text) {
  minutes += 1;
  const updated_at = new Date(Date.UTC(2026, 0, 1, 0, minutes)).toISOString().replace('.000', '');
  stream(owner, name).set(id, { id, owner, name: text, updated_at });
}

async function product(request, response, url, name) {
  const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
  const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
  const owner = found?.isValid ? (found.accountId ?? found.clientId) : undefined;
  const status = owner === undefined ? 401 : STREAMS.includes(name) ? 200 : 404;
  const since = url.searchParams.get('since');
  log.push({ kind: 'product', stream: name, access_token: token, status, owner, since });
  if (status !== 200) return answer(response, status, { error: 'invalid_token' });
  await pass('product');
  const all = [...stream(owner, name).values()].filter((record) => since === null || record.updated_at >= since);
  return answer(response, 200, { records: all });
}

const commands = {
  // Everything that was asked so far.
  log: () => log,
  // What a stream holds.
  truth: ({ owner, stream: name }) => [...stream(owner, name).values()],
  // A person changes or makes a record.
  change: ({ owner, stream: name, id, name: text }) => put(owner, name, id, text),
  // Access tokens are ended before their time; grants and refresh tokens stay.
  expire: () => drop(['AccessToken', 'ClientCredentials'], () => true),
  // A person takes back what they allowed.
  revoke: ({ owner }) => drop(['AccessToken', 'Grant', 'RefreshToken'], (row) => row.accountId === owner),
  // How long the endpoint says that new tokens last; as long as they do, where it is absent.
  tell: ({ seconds }) => {
    toldSeconds = seconds;
  },
  // A person allows a client, and hands the refresh token over by themselves.
  grant: async ({ owner, client: id }) => {
    const client = await provider.Client.find(id);
    const scope = 'offline_access crm.read';
    const grantId = await allow(owner, id, scope);
    const token = new provider.RefreshToken({ accountId: owner, client, grantId, scope, gty: 'authorization_code' });
    return { refresh_token: await token.save() };
  },
  // From now on answers of one place (`token`, `product`) are held back.
  hold: ({ place }) => {
    gate.place = place;
    gate.held = 0;
  },
  // Answers once one is held back.
  held: () => (gate.held > 0 ? undefined : new Promise((tell) => gate.watchers.push(tell))),
  // Lets go of them.
  release: () => {
    gate.place = undefined;
    gate.opened.splice(0).forEach((open) => open());
  },
};

async function command(name, given) {
  return (await commands[name](given)) ?? null;
}

async function body(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return text === '' ? {} : JSON.parse(text);
}

function answer(response, status, content) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}

console.log(`listening on 127.0.0.1:${server.address().port}`);
