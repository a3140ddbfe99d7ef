#!/usr/bin/env bash
# Registers the task definition with IMAGE in every container and rolls CLUSTER/SERVICE over to it; fails if ECS rolls
# back. The backup's task definition follows, so that backups run the same release.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${IMAGE:?}" "${CLUSTER:?}" "${SERVICE:?}"

register() {
    jq --arg image "$IMAGE" '.containerDefinitions[].image = $image' "$1" > "$work/task.json"
    aws ecs register-task-definition --cli-input-json "file://$work/task.json" \
        --query taskDefinition.taskDefinitionArn --output text
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
task=$(register task-definition.json)
register ecs/backup-task-definition.json
aws ecs update-service --cluster "$CLUSTER" --service "$SERVICE" --task-definition "$task" --output text --query service.status
aws ecs wait services-stable --cluster "$CLUSTER" --services "$SERVICE"
running=$(aws ecs describe-services --cluster "$CLUSTER" --services "$SERVICE" \
    --query 'services[0].deployments[?status==`PRIMARY`].taskDefinition | [0]' --output text)
if [ "$running" != "$task" ]; then
    echo "ECS rolled back to $running; $task did not become healthy" >&2
    exit 1
fi
