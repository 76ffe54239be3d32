// What can be done with a conversation as a whole.

import * as api from "./api.js";
import { askTitle, confirmDelete } from "./dialog.js";
import { t } from "./words.js";

// handlers: {onRenamed(id, title), onDeleted(id), attempt(action)}, where attempt shows what goes wrong and gives null then.
// Returns the items of the menu of one conversation.
export function conversationMenu(handlers) {
  const rename = async (id, title) => {
    const head = await handlers.attempt(() => api.changeConversation(id, { title }));
    if (head) handlers.onRenamed(id, head.title);
  };
  const remove = async (id) => {
    const done = await handlers.attempt(() => api.deleteConversation(id).then(() => true));
    if (done) handlers.onDeleted(id);
  };
  return ({ id, title }) => [
    { label: t("rename"), onPick: () => askTitle(title, (text) => rename(id, text)) },
    { label: t("export_markdown"), href: api.exportAddress(id, "markdown") },
    { label: t("export_json"), href: api.exportAddress(id, "json") },
    { label: t("delete"), isDanger: true, onPick: () => confirmDelete(title, () => remove(id)) },
  ];
}
