/**
 * How a bug gets into a driver: it replaces a method of one object.
 */

/** The names of the methods of a type. */
type MethodName<T> = {
  // deno-lint-ignore no-explicit-any
  [K in keyof T]: T[K] extends (...args: any[]) => unknown ? K : never;
}[keyof T];

/** Replaces a method of one object; `make` gets the method that the object has. */
export function override<T extends object, K extends MethodName<T>>(
  object: T,
  name: K,
  make: (clean: T[K]) => T[K],
): void {
  const clean = object[name] as unknown as (...args: unknown[]) => unknown;
  object[name] = make(clean.bind(object) as unknown as T[K]);
}
