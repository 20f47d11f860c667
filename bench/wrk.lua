-- Sends the heads of a file in turn and prints what came out as one line of JSON.
-- usage: wrk -s wrk.lua URL -- FILE [BYTES]; heads in FILE end with their empty line, and get a
-- body of that many bytes each.
local heads = {}
local place = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local body = string.rep("x", tonumber(args[2] or "0"))
  local from = 1
  while true do
    local _, to = text:find("\r\n\r\n", from, true)
    if not to then break end
    heads[#heads + 1] = text:sub(from, to) .. body
    from = to + 1
  end
end

function request()
  place = place % #heads + 1
  return heads[place]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"microseconds":%d,"bad":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
