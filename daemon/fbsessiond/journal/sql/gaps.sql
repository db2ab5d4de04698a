-- watch: an agent's first start, or another one: unless the chain broke before, the daemon was stopped since the last proof
INSERT INTO agents (agent, observed_since, proven_until, broken) VALUES (:agent, :now, :now, 'start')
ON CONFLICT (agent) DO UPDATE SET broken = coalesce(agents.broken, 'stopped');

-- watched: what is known of one agent
SELECT agent, observed_since, proven_until, broken, compared_at, position FROM agents WHERE agent = ?;

-- all_watched: the same of all
SELECT agent, observed_since, proven_until, broken, compared_at, position FROM agents ORDER BY agent;

-- all_in_doubt: the same of those who have a gap that isn't closed, or that has no end yet
SELECT agent, observed_since, proven_until, broken, compared_at, position
FROM agents
WHERE broken IS NOT NULL OR agent IN (SELECT gaps.agent FROM gaps WHERE closed_by IS NULL) ORDER BY agent;

-- chain: what a proof has to follow on
SELECT chain, doubted, proven_until, broken FROM agents WHERE agent = ?;

-- add_gap: between two chains
INSERT INTO gaps (agent, begin_at, end_at, cause) VALUES (?, ?, ?, ?);

-- prove: a chain goes on, or a new one began
UPDATE agents SET chain = :chain, proven_until = max(proven_until, :until), broken = NULL, position = :position
WHERE agent = :agent;

-- set_back_agent: the clock was; no time that is known can lie in the future
UPDATE agents SET observed_since = min(observed_since, :now), proven_until = :now, compared_at = min(compared_at, :now)
WHERE agent = :agent;

-- set_back_gaps: the same for what is written down
UPDATE gaps SET begin_at = min(begin_at, :now), end_at = min(end_at, :now) WHERE agent = :agent AND end_at > :now;

-- break_chain: what broke it first counts; what it proved last may not
UPDATE agents SET broken = coalesce(broken, :cause), proven_until = CASE WHEN :since IS NULL THEN proven_until ELSE
    min(proven_until, max(:since, observed_since, coalesce((
        SELECT end_at FROM gaps WHERE gaps.agent = agents.agent ORDER BY id DESC LIMIT 1
    ), 0))) END
WHERE agent = :agent;

-- doubt: the chain proved nothing since the sessions were last found as they are known, or since it began
UPDATE agents SET doubted = chain, chain = NULL, broken = 'silent', position = NULL,
    proven_until = min(proven_until, max(observed_since, coalesce(compared_at, 0), coalesce((
        SELECT end_at FROM gaps WHERE gaps.agent = agents.agent ORDER BY id DESC LIMIT 1
    ), 0)))
WHERE agent = ? AND chain IS NOT NULL;

-- agree: the sessions are known as they were then
UPDATE agents SET compared_at = :at WHERE agent = :agent;

-- close: what was missed in gaps that had ended by then is known
UPDATE gaps SET closed_by = :closed_by WHERE agent = :agent AND end_at <= :at AND closed_by IS NULL;

-- unclosed: an agent's gaps that have to be repaired
SELECT agent, begin_at, end_at, cause, closed_by FROM gaps WHERE agent = ? AND closed_by IS NULL ORDER BY id;

-- all_unclosed: the same of all
SELECT agent, begin_at, end_at, cause, closed_by FROM gaps WHERE closed_by IS NULL ORDER BY id;

-- read: gaps of one agent, or of all
SELECT agent, begin_at, end_at, cause, closed_by FROM gaps WHERE :agent IS NULL OR agent = :agent ORDER BY agent, id;

-- forget: closed gaps that ended long ago
DELETE FROM gaps WHERE closed_by IS NOT NULL AND end_at < ?;

-- forget_observed: what lies so far back isn't counted any more
UPDATE agents SET observed_since = min(:before, proven_until) WHERE observed_since < min(:before, proven_until);

-- check: gaps that overlap, end before they begin, or end after the last proof; and those of nobody
SELECT 'gap ' || id, 'of agent ' || agent || ' doesn''t lie between two proofs' FROM (
    SELECT *, max(end_at) OVER (
        PARTITION BY agent ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS earlier_end FROM gaps
) AS gap
WHERE end_at < begin_at OR begin_at < earlier_end
    OR end_at > (SELECT proven_until FROM agents WHERE agents.agent = gap.agent)
UNION ALL
SELECT 'gap ' || id, 'agent ' || agent || ' isn''t known' FROM gaps WHERE agent NOT IN (SELECT agent FROM agents);

-- check_causes: of all gaps, and of those that have no end yet
SELECT 'gap ' || id, cause FROM gaps UNION ALL SELECT 'agent ' || agent, broken FROM agents WHERE broken IS NOT NULL;

-- is_in_doubt: whether an agent has a gap whose end, or what it hid, isn't known
SELECT EXISTS (SELECT 1 FROM agents WHERE agent = :agent AND broken IS NOT NULL)
    OR EXISTS (SELECT 1 FROM gaps WHERE agent = :agent AND closed_by IS NULL);
