// What assets/api.js offers to the other modules, with the types of the API's endpoints.
import type { Endpoints } from "./api-types";
import type { Signal } from "./signals-core";

/** What people choose comes from the page as text: the server says which texts there are. */
type Loose<T> = T extends string ? string : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;
type Body<P extends keyof Endpoints> = Loose<Endpoints[P]["body"]>;
type Answer<P extends keyof Endpoints> = Endpoints[P]["answer"];
type Lists<P extends keyof Endpoints> = { [N in keyof Answer<P>]: Answer<P>[N] extends unknown[] ? N : never }[keyof Answer<P>];
type Item<P extends keyof Endpoints, L extends keyof Answer<P>> = Answer<P>[L] extends (infer T)[] ? T : never;

export interface Session {
  user_id: string; user_name: string | null; account_id: string; role_code: string; expires_at: string; actions: string[];
}
export const session: Signal<Session | null | undefined>;
export const waiting: Signal<boolean>;
export class ApiError extends Error {
  status: number; code: string; fields: string[]; requestId: string; retryAfter: number;
}
export function may(action: string): boolean;
export function newKey(): string;
export function passes(error: unknown): boolean;
export function call<P extends keyof Endpoints>(path: P, body?: Body<P>, options?: { key?: string }): Promise<Answer<P>>;
export function steadily<P extends keyof Endpoints>(path: P, body: Body<P>, options?: { key?: string; tries?: number }): Promise<Answer<P>>;
export function paged<P extends keyof Endpoints, L extends Lists<P>>(path: P, body: Body<P>, list: L, limit?: number):
  (cursor?: string | null) => Promise<{ items: Item<P, L>[]; page: Answer<P> }>;
export function pages<P extends keyof Endpoints>(path: P, body: Body<P>, limit?: number): AsyncGenerator<Answer<P>>;
export function everything<P extends keyof Endpoints, L extends Lists<P>>(path: P, body: Body<P>, list: L, most?: number): Promise<Item<P, L>[]>;
type Message = Item<"campaign/rerun/messages", "messages">;
export function findMessage(campaign: string, run: number, test: (message: any) => unknown, values?: unknown[]): Promise<Message | null>;
export function importCsv(group: string, file: File, mode: string, progress: (share: number) => void, key?: string): Promise<any>;
export function download(path: string, body: object, name: string): Promise<{ changed: boolean }>;
export function whoAmI(): Promise<void>;
export function provider(): Promise<string | null>;
export function signIn(token: string): Promise<void>;
export function signOut(): Promise<void>;
