// What is kept in a component has any type; what comes from the API has its own (assets/ui.js, `useLoad`).
export function useState(first?: any): [any, (next: any) => void];
export function useRef(first?: any): { current: any };
export function useEffect(effect: () => unknown, keys?: unknown[]): void;
export function useLayoutEffect(effect: () => unknown, keys?: unknown[]): void;
export function useMemo(make: () => any, keys: unknown[]): any;
