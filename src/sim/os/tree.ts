/**
 * A tree of directories, files and links, as /sys and /dev have it.
 */

import { refuse } from "./refusal.ts";

type Folder<T> = Map<string, Node<T>>;
type Node<T> =
  | { readonly kind: "folder"; readonly entries: Folder<T> }
  | { readonly kind: "file"; readonly text: string }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "device"; readonly device: T };

const MAX_LINKS = 40;

/** A file tree; a character device holds a `T`. */
export class Tree<T> {
  readonly #root: Folder<T> = new Map();

  /** Creates a directory and its parents. */
  folder(path: string): void {
    this.#folder(path);
  }

  /** Creates a file with a text. */
  file(path: string, text: string): void {
    this.#add(path, { kind: "file", text });
  }

  /** Creates a character device. */
  device(path: string, device: T): void {
    this.#add(path, { kind: "device", device });
  }

  /** Creates a link to an absolute path, stored as a relative one like in sysfs. */
  link(path: string, target: string): void {
    const from = path.split("/").slice(1, -1);
    const to = target.split("/").slice(1);
    let same = 0;
    while (same < from.length && same < to.length && from[same] === to[same]) same += 1;
    const relative = [...from.slice(same).map(() => ".."), ...to.slice(same)].join("/");
    this.#add(path, { kind: "link", target: relative });
  }

  #folder(path: string): Folder<T> {
    let folder = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      let next = folder.get(name);
      if (next === undefined) folder.set(name, next = { kind: "folder", entries: new Map() });
      if (next.kind !== "folder") {
        throw new TypeError(`Cannot make ${path}: ${name} is not a directory`);
      }
      folder = next.entries;
    }
    return folder;
  }

  #add(path: string, node: Node<T>): void {
    const slash = path.lastIndexOf("/");
    this.#folder(path.slice(0, slash)).set(path.slice(slash + 1), node);
  }

  /** Resolves a path; returns the node, and its path without links and dots. */
  #walk(path: string, followLast: boolean): { node: Node<T>; path: string } {
    if (!path.startsWith("/")) refuse("ENOENT");
    const todo = path.split("/").reverse();
    const trail: { name: string; node: Node<T> }[] = [];
    let node: Node<T> = { kind: "folder", entries: this.#root };
    let links = 0;
    while (todo.length > 0) {
      const name = todo.pop()!;
      if (node.kind !== "folder") refuse("ENOTDIR");
      if (name === "" || name === ".") continue;
      if (name === "..") {
        trail.pop();
        node = trail.at(-1)?.node ?? { kind: "folder", entries: this.#root };
        continue;
      }
      const next: Node<T> = (node as { entries: Folder<T> }).entries.get(name) ?? refuse("ENOENT");
      if (next.kind === "link" && (followLast || todo.length > 0)) {
        links += 1;
        if (links > MAX_LINKS) refuse("ELOOP");
        todo.push(...next.target.split("/").reverse());
        continue;
      }
      node = next;
      trail.push({ name, node });
    }
    return { node, path: `/${trail.map(({ name }) => name).join("/")}` };
  }

  /** The device at a path. */
  openDevice(path: string): T {
    const { node } = this.#walk(path, true);
    // Files are only read by readText; only character devices can be opened.
    return node.kind === "device"
      ? node.device
      : refuse(node.kind === "folder" ? "EISDIR" : "EACCES");
  }

  /** A file's text. */
  readText(path: string): string {
    const { node } = this.#walk(path, true);
    return node.kind === "file" ? node.text : refuse(node.kind === "folder" ? "EISDIR" : "EINVAL");
  }

  /** A link's target. */
  readLink(path: string): string {
    const { node } = this.#walk(path, false);
    return node.kind === "link" ? node.target : refuse("EINVAL");
  }

  /** The sorted names in a directory. */
  readDir(path: string): string[] {
    const { node } = this.#walk(path, true);
    return node.kind === "folder" ? [...node.entries.keys()].sort() : refuse("ENOTDIR");
  }

  /** The path with every link followed. */
  realPath(path: string): string {
    return this.#walk(path, true).path;
  }
}
