// What assets/api.js offers to the other modules, with the types of the API's endpoints.
import type { Endpoints } from "./api-types";

/** What people choose comes from the page as text: the server says which texts there are. */
type Loose<T> = T extends string ? string : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;
type Body<P extends keyof Endpoints> = Loose<Endpoints[P]["body"]>;
type Answer<P extends keyof Endpoints> = Endpoints[P]["answer"];
type Lists<P extends keyof Endpoints> = { [N in keyof Answer<P>]: Answer<P>[N] extends unknown[] ? N : never }[keyof Answer<P>];
type Item<P extends keyof Endpoints, L extends keyof Answer<P>> = Answer<P>[L] extends (infer T)[] ? T : never;

/** A value that the page shows: after a change the whole page is drawn again. */
export interface Signal<T> { value: T }
export function signal<T>(value: T): Signal<T>;
/** What runs after each change of a signal. */
export function whenChanged(run: () => void): void;

export interface Session {
  user_id: string; user_name: string | null; account_id: string; role_code: string; expires_at: string; actions: string[];
}
/** Who is signed in; `null` for nobody, `undefined` until it is known. */
export const session: Signal<Session | null | undefined>;
/** Whether a call waits because the server cannot be reached or has no time. */
export const waiting: Signal<boolean>;
export class ApiError extends Error {
  status: number; code: string; fields: string[]; requestId: string; retryAfter: number;
}
/** Whether the role may do an action, as role rules name it. */
export function may(action: string): boolean;
export function newKey(): string;
/** Whether the same request can succeed later: nothing was written, or its key makes sure of once. */
export function passes(error: unknown): boolean;
/** Posts to an endpoint of /v1 and returns what it returns. */
export function call<P extends keyof Endpoints>(path: P, body?: Body<P>, options?: { key?: string }): Promise<Answer<P>>;
/**
 * Posts with one idempotency key until the server has an answer: while the server cannot be reached or is busy, it waits
 * and sends the same again.
 */
export function steadily<P extends keyof Endpoints>(path: P, body: Body<P>, options?: { key?: string; tries?: number }): Promise<Answer<P>>;
/** Loads one page of a list, as `usePages` wants it. */
export function paged<P extends keyof Endpoints, L extends Lists<P>>(path: P, body: Body<P>, list: L, limit?: number):
  (cursor?: string | null) => Promise<{ items: Item<P, L>[]; page: Answer<P> }>;
/** All pages of a list, one after another. */
export function pages<P extends keyof Endpoints>(path: P, body: Body<P>, limit?: number): AsyncGenerator<Answer<P>>;
export function everything<P extends keyof Endpoints, L extends Lists<P>>(path: P, body: Body<P>, list: L, most?: number): Promise<Item<P, L>[]>;
type Message = Item<"campaign/rerun/messages", "messages">;
/** The message with an id, in a run. Its values make the search short. */
export function findMessage(campaign: string, run: number, test: (message: any) => unknown, values?: unknown[]): Promise<Message | null>;
/** Sends a CSV file; `progress` gets the share that is sent. */
export function importCsv(group: string, file: File, mode: string, progress: (share: number) => void, key?: string): Promise<any>;
/** Fetches a file and has the browser save it. */
export function download(path: string, body: object, name: string): Promise<{ changed: boolean }>;
export function whoAmI(): Promise<void>;
/** The host of the OpenID provider where one may sign in, if there is one. */
export function provider(): Promise<string | null>;
export function signIn(token: string): Promise<void>;
export function signOut(): Promise<void>;
