// The official JavaScript client against one server: FERRY_URL, FERRY_KEY and FERRY_MODEL come in, a line for each
// check goes out ("ok NAME" or "failed NAME: why"), and a status of 1 when one failed.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const model = process.env.FERRY_MODEL;
const client = new OpenAI({ baseURL: process.env.FERRY_URL, apiKey: process.env.FERRY_KEY || "none", maxRetries: 0 });
const chat = client.chat.completions;
const messages = [{ role: "user", content: "What is the capital of France?" }];
const short = { model, messages, max_tokens: 8, temperature: 0 };
const soon = { model, messages, max_tokens: 200, temperature: 0, frequency_penalty: 2 };
const City = z.object({ name: z.enum(["Paris", "Rome"]), is_capital: z.boolean() });

const checks = {
  async chats() {
    const answer = await chat.create(short);
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.ok(answer.usage.prompt_tokens_details.cached_tokens >= 0);
  },

  async streams_with_usage() {
    const whole = await chat.create(short);
    let text = "";
    let usage;
    for await (const chunk of await chat.create({ ...short, stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  },

  async puts_a_stream_together_by_itself() {
    const runner = chat.stream({ ...short, n: 2, temperature: 1.5 });
    const completion = await runner.finalChatCompletion();
    assert.deepEqual(completion.choices.map((choice) => choice.index), [0, 1]);
    assert.ok(completion.choices.every((choice) => choice.message.role === "assistant"));
  },

  async reads_logprobs() {
    const answer = await chat.create({ ...short, logprobs: true, top_logprobs: 2 });
    const tokens = answer.choices[0].logprobs.content;
    assert.equal(tokens.length, answer.usage.completion_tokens);
    assert.ok(tokens.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));
  },

  async parses_an_answer_into_an_object() {
    const answer = await chat.parse({ ...soon, response_format: zodResponseFormat(City, "city") });
    assert.ok(["Paris", "Rome"].includes(answer.choices[0].message.parsed.name));
  },

  async parses_a_tools_arguments() {
    const tools = [zodFunction({ name: "show_city", parameters: City })];
    const answer = await chat.parse({ ...soon, tools, tool_choice: "required" });
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    assert.equal(typeof answer.choices[0].message.tool_calls[0].function.parsed_arguments.is_capital, "boolean");
  },

  async streams_a_call() {
    const tools = [zodFunction({ name: "show_city", parameters: City })];
    const completion = await chat.stream({ ...soon, tools, tool_choice: "required" }).finalChatCompletion();
    assert.equal(completion.choices[0].message.tool_calls[0].function.name, "show_city");
  },

  async completes_and_lists() {
    const completion = await client.completions.create({ model, prompt: "The sea", max_tokens: 4 });
    assert.equal(completion.object, "text_completion");
    const names = [];
    for await (const listed of client.models.list()) names.push(listed.id);
    assert.ok(names.includes(model));
  },

  async throws_its_own_errors() {
    await assert.rejects(chat.create({ ...short, temperature: 9 }), (error) => {
      return error instanceof OpenAI.BadRequestError && error.param === "temperature";
    });
    await assert.rejects(chat.create({ ...short, model: "no-such-model" }), OpenAI.NotFoundError);
    const long = [{ role: "user", content: "too long ".repeat(9000) }];
    await assert.rejects(chat.create({ ...short, messages: long }), { code: "context_length_exceeded" });
  },

  async aborts_and_goes_on() {
    for (let turn = 0; turn < 20; turn += 1) {
      const stream = await chat.create({ ...short, max_tokens: 400, stream: true });
      for await (const chunk of stream) {
        assert.ok(chunk.id);
        break; // leaving the loop hangs up
      }
      const controller = new AbortController();
      const asked = chat.create({ ...short, max_tokens: 400 }, { signal: controller.signal });
      controller.abort();
      await assert.rejects(asked, OpenAI.APIUserAbortError);
    }
    assert.ok((await chat.create({ ...short, max_tokens: 1 })).choices.length);
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`failed ${name}: ${String(error).split("\n").join(" ")}`);
  }
}
