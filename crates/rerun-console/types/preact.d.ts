export function h(type: unknown, props: unknown, ...children: unknown[]): unknown;
export function render(node: unknown, parent: Element | null): void;
export const Fragment: unknown;

declare global {
  interface Element { focus(options?: FocusOptions): void }
  namespace Intl { function supportedValuesOf(key: string): string[]; }
}
