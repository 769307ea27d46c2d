// A backup by the client that openapi-typescript and openapi-fetch make of the served document: register, prove the address, sign in,
// connect the sandbox, make a job, run it, follow it to its end, list the records of its snapshot. Prints what was read as JSON.
//
// Arguments: the API's address, the folder of mails, the sandbox's address.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import createClient from "openapi-fetch";
import type { paths } from "./api";

const [url, mails, sandbox] = process.argv.slice(2) as [string, string, string];
const email = "typescript@example.com";
const password = "correct horse battery staple";
const client = createClient<paths>({ baseUrl: url });

/** What an operation answered; a problem ends the program with its text. */
function good<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.response.url}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

function mailedCode(): string {
  const letters = readdirSync(mails).map((name) => readFileSync(join(mails, name), "utf8"));
  const letter = letters.find((text) => text.includes(`To: ${email}`));
  const code = letter?.match(/^Code: (\S+)/m)?.[1];
  if (code === undefined) throw new Error("no letter with a code came");
  return code;
}

async function signIn(): Promise<void> {
  good(await client.POST("/auth/register", { body: { email, password, name: "TypeScript" } }));
  good(await client.POST("/auth/verify", { body: { email, code: mailedCode() } }));
  const { access_token } = good(await client.POST("/auth/login", { body: { email, password } }));
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${access_token}`);
      return request;
    },
  });
}

async function order(): Promise<string> {
  const settings = { base_url: sandbox, credentials: { auth_type: "api_key", api_key: "sandbox-key" } };
  const source = good(
    await client.POST("/sources", { body: { name: "Sandbox", integration: "sandbox", settings, streams: ["companies"] } }),
  );
  const job = good(
    await client.POST("/jobs", { body: { source_id: source.id, name: "By hand", schedule: { kind: "manual" } } }),
  );
  const made = await client.POST("/jobs/{id}/run", {
    params: { path: { id: job.id }, header: { "Idempotency-Key": "from-typescript" } },
  });
  return good(made).id;
}

/** The run's events end with it. */
async function ended(id: string): Promise<string> {
  const events = await client.GET("/runs/{id}/events", { params: { path: { id } }, parseAs: "text" });
  good(events);
  const run = good(await client.GET("/runs/{id}", { params: { path: { id } } }));
  if (run.status !== "succeeded" || !run.snapshot_id) throw new Error(`the run ended as ${JSON.stringify(run)}`);
  return run.snapshot_id;
}

async function records(id: string, stream: string): Promise<number> {
  let [count, cursor] = [0, undefined as string | undefined];
  do {
    const page = good(
      await client.GET("/data/snapshots/{id}/streams/{stream}/records", {
        params: { path: { id, stream }, query: { limit: 100, cursor } },
      }),
    );
    count += page.items.length;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return count;
}

await signIn();
const snapshot = await ended(await order());
console.log(JSON.stringify({ snapshot, records: await records(snapshot, "companies") }));
