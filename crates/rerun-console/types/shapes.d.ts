// What the modules' own functions take and return.
export interface Act {
  kind: "approve" | "reject" | "regenerate" | "adopt";
  campaign: string; items: { id: string; content_id?: string }[]; reason?: string; stage?: string;
}
/** Loads, and loads again when the keys change. Returns the value, the error, what loads again, and whether it loads. */
export type UseLoad = <T>(load: () => Promise<T>, keys: unknown[]) => [T, any, () => void, boolean];
/** A list that grows page by page. */
export type UsePages = <T, P extends { next_cursor?: string }>(load: (cursor?: string) => Promise<{ items: T[]; page: P }>, keys: unknown[]) =>
  { items: T[]; cursor: string; first: P; loading: boolean; error: any; more: () => void; reload: () => void };
